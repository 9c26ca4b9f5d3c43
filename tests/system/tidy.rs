//! The structure of the tree, held against ARCHITECTURE.md.
