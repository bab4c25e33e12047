"""A researcher's own captions, features and pictures, made into a data set that the whole pipeline takes.

`captions` reads the table, `features` the arrays, `division` keeps equal images together and draws the splits, and `make`
puts the folder together and adds it to params.yaml.
"""
