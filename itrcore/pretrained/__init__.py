"""Published models: BERT, CLIP, ResNets, by a name on a hub or as a folder."""
