"""SGR, SAF and LHSC: a vector of alignment for each word and for the whole pair."""
