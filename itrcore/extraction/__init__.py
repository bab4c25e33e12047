"""Region features of pictures by a pretrained model: for a whole data set, written into shards, and for any new picture."""
