//! Wall time and sleep, real or virtual, in one value.
