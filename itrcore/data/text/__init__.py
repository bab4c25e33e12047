"""Captions as tokens: vocabularies, word pieces, word vectors, and what nltk gives."""
