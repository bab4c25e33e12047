"""What kinds of queries a data set's methods fail at, and how: a page and a JSON file for each data set."""
