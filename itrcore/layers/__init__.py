"""What methods are made of: encoders, pooling, attention, products, losses."""
