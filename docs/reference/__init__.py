"""Pages that are made from the program itself: `make reference` writes them, a test compares them."""
