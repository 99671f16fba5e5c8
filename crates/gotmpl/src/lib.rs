//! Go's text/template with Sprig's functions, bounded by fuel.
