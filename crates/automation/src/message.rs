//! Renders a commit message from the changes it describes.
