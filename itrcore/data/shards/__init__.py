"""A data set as WebDataset shards with an Arrow index: what training reads.

`writing` makes shards of any samples; `region_writer` and `image_writer` give it theirs. `files` opens a folder of shards;
`regions` and `images` read samples of it at random. `cache` downloads shards that someone has published.
"""
