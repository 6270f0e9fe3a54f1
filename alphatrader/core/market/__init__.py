"""The market as it is folded from the broker's messages: books, prints, quotes, bars, and who gets which subscription."""
