//! A verdict with a reason for every tag of a listing.
