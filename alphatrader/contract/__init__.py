"""What flows between the modules: their names, the Redis keys they own, the messages in them, and the settings.

Everything else of the product may import this package; it imports nothing of the product.
"""
