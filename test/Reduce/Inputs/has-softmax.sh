#!/bin/sh
# Interesting is what has a softmax.
grep -q nn.softmax "$1"
