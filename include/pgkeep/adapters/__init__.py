"""One room per outside thing. They know the ports, and not each other."""
