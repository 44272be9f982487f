"""What shows that the store holds: crowds that pull at once, and kills at any moment."""
