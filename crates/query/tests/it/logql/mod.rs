//! LogQL: cases of our own, and properties of parser, printer and evaluation.

mod cases;
mod properties;
mod scene;
