"""What must fail today, and why.

What must stay true
- A row names a check by pass and name, and says the reason, the step that ends it, and a pattern of how it fails:
  a check that fails in another way is not expected to.
- A check with a row that works is reported and fails the run: the row has to go. So is a row whose check is no more.
"""

EXPECTED = {}
