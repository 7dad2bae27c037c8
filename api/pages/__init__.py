"""The look of the pages: words, numbers, maps and charts. No JavaScript, no request to another host."""
