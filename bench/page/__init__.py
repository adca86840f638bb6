"""Measures the chat page in Chromium, with a real server behind it: `make bench-page`.

shape     what an answer is made of: prose, one code block, one table, one list, one paragraph
seen      what the browser told while such an answer came
view      what the browser told of showing the page
"""
