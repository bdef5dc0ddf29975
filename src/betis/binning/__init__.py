"""From maps of signal and noise to bins that say truly what they reach."""
