"""What are the images like, which of them come from one source, and are the test images like the training images?"""
