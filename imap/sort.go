package imap

// SortField is what SORT compares messages by. RFC 5256 section 3 (SORT
// Command), RFC 5957 section 4.
type SortField uint8

// The criteria.
const (
	SortArrival     SortField = iota // internal date and time
	SortDate                         // sent date: the Date field in UTC, else the internal date
	SortSize                         // in octets
	SortSubject                      // base subject
	SortFrom                         // mailbox of the first From address
	SortTo                           // of the first To address
	SortCc                           // of the first Cc address
	SortDisplayFrom                  // name of the first From address, else the address
	SortDisplayTo                    // of the first To address
)

var sortNames = [...]string{
	SortArrival: "ARRIVAL", SortDate: "DATE", SortSize: "SIZE", SortSubject: "SUBJECT",
	SortFrom: "FROM", SortTo: "TO", SortCc: "CC",
	SortDisplayFrom: "DISPLAYFROM", SortDisplayTo: "DISPLAYTO",
}

// String is the criterion as it is written on the wire.
func (f SortField) String() string { return sortNames[f] }

// ParseSortField finds a criterion by its name in capitals.
func ParseSortField(name string) (SortField, bool) {
	for f, n := range sortNames {
		if n == name {
			return SortField(f), true
		}
	}
	return 0, false
}

// SortKey is a criterion of SORT. Where all of a command's are equal, the
// messages are in order of UID, Reverse or not.
type SortKey struct {
	Field   SortField
	Reverse bool
}

// MaxSortKeys is how many criteria one SORT may name.
const MaxSortKeys = 20

// ThreadAlgorithm is a way to find threads, as it is named on the wire.
type ThreadAlgorithm string

// The algorithms. The first two are in RFC 5256 section 3 (THREAD Command); REFS
// is in draft-ietf-morg-inthread-01 section 4.
const (
	ThreadOrderedSubject ThreadAlgorithm = "ORDEREDSUBJECT"
	ThreadReferences     ThreadAlgorithm = "REFERENCES"
	ThreadRefs           ThreadAlgorithm = "REFS"
)

// ThreadAlgorithms are all that there are.
func ThreadAlgorithms() []ThreadAlgorithm {
	return []ThreadAlgorithm{ThreadOrderedSubject, ThreadReferences, ThreadRefs}
}

// ThreadMember is a place in a list of threads. The list is a forest in
// preorder: a member, then those below it. So a thread may be as deep as the
// mailbox is large, and nobody has to call itself to go through it.
type ThreadMember struct {
	UID   UID    // 0 stands for a message that is not there, whose replies belong together
	Depth uint32 // 0 begins a thread; at most one more than that of the member before
}

// PruneThreads takes the members out of a list, in place, that keep does not
// want. What was below them takes their place; at the top of a thread, where
// there may be several, they become messages that are not there.
func PruneThreads(list []ThreadMember, keep func(UID) bool) []ThreadMember {
	out := list[:0]
	var lost []uint32 // the depths of those above that were taken out, ascending
	for _, m := range list {
		for len(lost) > 0 && lost[len(lost)-1] >= m.Depth {
			lost = lost[:len(lost)-1]
		}
		switch {
		case m.UID == 0 || keep(m.UID):
			m.Depth -= uint32(len(lost))
			out = append(out, m)
		case m.Depth == 0:
			out = append(out, ThreadMember{})
		default:
			lost = append(lost, m.Depth)
		}
	}
	return dropEmptyThreads(out)
}

// dropEmptyThreads takes out, in place, what is not there and has nothing below.
func dropEmptyThreads(list []ThreadMember) []ThreadMember {
	end := len(list)
	for i := end - 1; i >= 0; i-- { // from the end, so that an empty one's parent is seen later
		m := list[i]
		if m.UID == 0 && (end == len(list) || list[end].Depth <= m.Depth) {
			continue
		}
		end--
		list[end] = m
	}
	return list[end:]
}
