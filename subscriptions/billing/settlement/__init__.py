"""What becomes of an invoice: money, credit, what goes back, commission, what is still due."""
