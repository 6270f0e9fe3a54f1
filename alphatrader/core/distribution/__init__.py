"""What subscribers are told, when, in which words, and how a lost answer is judged: pure decisions.

`tiers` says what each tier sees and when; `wording` makes a Discord embed, a Telegram text and a tweet of it; `ledger` decides
what becomes of one delivery to one recipient; `recipients` says who is told; `standing` says what a Telegram user may know now.
"""
