"""Which files are images, which their masks, which for testing? From folders, names, and a look at some pixels."""
