"""The four booking providers: one adapter each, behind one interface."""
