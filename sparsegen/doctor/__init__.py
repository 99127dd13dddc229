"""What this machine and this install let sparsegen do: checks, and what follows from each.

`examination` runs them. torch and TVM are asked in processes of their own, side by side: both take a second
or more to import, and a version that crashes ends its process, not the examination.
"""
