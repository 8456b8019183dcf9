//go:build race

package main

// raceDetector says that the tests run with it, whose memory counts as theirs.
const raceDetector = true
