"""Looking over a prepared data set: figures of its captions, features, boxes and pictures, and what is wrong with them."""
