//go:build !race

package simworld

const raceDetector = false
