"""The gateway: which APIs there are, the machine that calls them, and what goes in and out of it.

Pure, and on the standard library alone: the client has it inside the subnet.
"""
