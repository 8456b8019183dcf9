package config

// nearest is a hint at the known name that is most like name, or "". Of names
// that are equally like it, it is the first in the alphabet.
func nearest(name string, known []string) string {
	best, bestDist := "", 1+limitFor(name)
	for _, k := range known {
		d := distance(name, k, bestDist+1)
		if d < bestDist || (d == bestDist && best != "" && k < best) {
			best, bestDist = k, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// limitFor is how many letters may differ: one in three, at most four.
func limitFor(name string) int { return min(4, (len(name)+1)/3) }

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour that makes b out of a; at least limit if it is not below it.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
