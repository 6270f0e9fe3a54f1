"""How a module lives: settings, secrets, clock, calendar, log, store, the module loop, the parent of every Procfile line."""
