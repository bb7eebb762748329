"""Resources: collections of records that the service owns, with one way to list, change, export and audit them."""
