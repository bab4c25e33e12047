"""Methods and the parts they share."""
