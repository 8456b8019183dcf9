package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// clientView is what a client believes of the mailbox that it has selected, from
// untagged responses alone.
type clientView struct {
	known     []knownMessage // by sequence number
	permanent string         // as PERMANENTFLAGS told
	readOnly  bool
	holds     bool // no EXPUNGE may come now

	vanishes bool         // QRESYNC is on
	fetches  bool         // a FETCH runs, which answers without MODSEQ
	past     *mailboxPast // nil: it is not kept
}

type knownMessage struct {
	uid   int      // 0: not known yet
	flags []string // sorted, without \Recent
}

var (
	numberLine    = regexp.MustCompile(`(?s)^\* (\d+) (EXISTS|EXPUNGE|FETCH)(.*)$`)
	fetchedUID    = regexp.MustCompile(`\bUID (\d+)`)
	fetchedFlags  = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	permanentLine = regexp.MustCompile(`^\* OK \[PERMANENTFLAGS \(([^)]*)\)\]`)
	readOnlyLine  = regexp.MustCompile(`^\* OK \[READ-(ONLY|WRITE)\]`)
)

// apply does what a client does when it is told something. What contradicts
// what it was told before is an error.
func (v *clientView) apply(line string) error {
	if p := permanentLine.FindStringSubmatch(line); p != nil {
		v.permanent = p[1]
	}
	if p := readOnlyLine.FindStringSubmatch(line); p != nil {
		v.readOnly = p[1] == "ONLY"
	}
	if p := vanishedLine.FindStringSubmatch(line); p != nil {
		return v.vanished(p[1] != "", p[2], line)
	}
	v.past.toldHighest(line)
	p := numberLine.FindStringSubmatch(line)
	if p == nil {
		return nil
	}
	n, _ := strconv.Atoi(p[1])
	if p[2] == "EXISTS" {
		if n < len(v.known) {
			return fmt.Errorf("%q, but there are %d", line, len(v.known))
		}
		v.known = append(v.known, make([]knownMessage, n-len(v.known))...)
		return nil
	}
	if n < 1 || n > len(v.known) {
		return fmt.Errorf("%q, but there are only %d", line, len(v.known))
	}
	if p[2] == "EXPUNGE" {
		if v.holds {
			return fmt.Errorf("%q during a command with sequence numbers", line)
		}
		if v.vanishes {
			return fmt.Errorf("%q with QRESYNC", line)
		}
		v.past.leaves(v.known[n-1].uid)
		v.known = slices.Delete(v.known, n-1, n)
		return nil
	}
	k := &v.known[n-1]
	if err := k.fetched(p[3], line); err != nil || v.past == nil {
		return err
	}
	return v.past.fetched(k, p[3], line, v.vanishes && !v.fetches)
}

// fetched takes in the data of a FETCH response. Texts behind a literal's length
// or << are no data.
func (k *knownMessage) fetched(data, line string) error {
	if i := strings.IndexAny(data, "<{"); i >= 0 {
		data = data[:i]
	}
	if p := fetchedUID.FindStringSubmatch(data); p != nil {
		uid, _ := strconv.Atoi(p[1])
		if k.uid != 0 && k.uid != uid {
			return fmt.Errorf("%q, but that was UID %d", line, k.uid)
		}
		k.uid = uid
	}
	if p := fetchedFlags.FindStringSubmatch(data); p != nil {
		k.flags = slices.DeleteFunc(strings.Fields(p[1]), func(f string) bool { return f == `\Recent` })
		slices.Sort(k.flags)
	}
	return nil
}

// firstUnknown is the UID from which on the client has to ask for UIDs that it
// was only told a number of, or 0.
func (v *clientView) firstUnknown() int {
	from := 1
	for _, k := range v.known {
		if k.uid == 0 {
			return from
		}
		from = k.uid + 1
	}
	return 0
}
