"""What happens to an issued invoice: payments, credits, refunds, commission, amounts due."""
