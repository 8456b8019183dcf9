// Package scenario tells what happens to a cluster, as a text that an administrator
// can read, and has it happen: in a simulated world, or with real processes.
//
//	# A backend that was stopped acknowledges nothing when it goes on.
//	backends b1 b2 b3
//	directors d1
//	users 20
//
//	start all
//	settled within 10s
//	load on
//	for 2s
//	stop b1
//	served within 7s
//	continue b1
//	for 2s
//	check
//
// While the load is on, a client of each user appends, flags, expunges, copies and
// moves messages, lets others read mailboxes, and takes down what it was answered. check reads all mail and
// says what of it can't be: acknowledged and not there, refused and done, a UID
// given twice, a message out of nowhere, a sharing index that says other than the mailboxes.
package scenario

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scenario is a scenario that was read.
type Scenario struct {
	Name      string
	Backends  []string
	Directors []string
	Users     int
	Steps     []Step
}

// Step is one line of it.
type Step struct {
	Line   int
	Verb   string
	Args   []string
	Within time.Duration // of a line that ends in "within D", or "for D"
	Text   string        // the line, for messages
}

// verb says what may follow a word.
type verb struct {
	args   int  // how many; -1: one or more
	within bool // a duration has to follow: "within D"
	runner bool // done here; else by the World
}

// verbs are the words a step can begin with.
func verbs() map[string]verb {
	return map[string]verb{
		"for":       {args: 1, runner: true},               // for D: let time pass
		"load":      {args: 1, runner: true},               // load on | off
		"served":    {within: true, runner: true},          // every user's next command is answered with OK
		"check":     {runner: true},                        // everything is as it was acknowledged
		"settled":   {within: true, runner: true},          // all units are held by those who should
		"random":    {args: 1, within: true, runner: true}, // random N within D: so many faults, undone again
		"measure":   {args: 1, runner: true},               // measure BACKEND: from now on those whom it holds apart from others
		"waited":    {within: true, runner: true},          // none of them has waited for an OK for longer
		"unnoticed": {within: true, runner: true},          // nobody else has either, or got something else than OK
		"start":     {args: -1},                            // start NODE... | all
		"kill":      {args: -1},                            // kill -9
		"stop":      {args: -1},                            // SIGSTOP
		"continue":  {args: -1},                            // SIGCONT
		"term":      {args: -1},                            // SIGTERM, and wait for the end
		"upgrade":   {args: 1},                             // upgrade NODE: term, then start as a version to come
		"downgrade": {args: 1},                             // and back
		"freeze":    {args: -1},                            // the machine is paused, its clocks too
		"thaw":      {args: -1},                            // and goes on
		"cut":       {args: 3},                             // cut NODE from NODE|coordinator|all
		"heal":      {args: -1},                            // heal NODE: undoes its cuts
		"hang":      {args: 1},                             // hang NODE: writes to its mail do not return
		"unhang":    {args: 1},                             //
		"unmount":   {args: 1},                             // unmount NODE: its volume is an empty directory
		"mount":     {args: 1},                             //
		"drain":     {args: 1, runner: true},               // what the administrator wishes
		"up":        {args: 1, runner: true},               //
		"down":      {args: 1, runner: true},               //
		"move":      {args: 3, runner: true},               // move USER to BACKEND
		"unmove":    {args: 1, runner: true},               // unmove USER
		"copy":      {args: 1},                             // copy coordinator: what it knows now
		"restore":   {args: 1},                             // restore coordinator: as it was then
		"wipe":      {args: 1},                             // wipe coordinator: it knows nothing

		"new-generation": {runner: true}, // what the administrator has to do after restore
	}
}

// Parse reads a scenario. name is for messages.
func Parse(name, text string) (*Scenario, error) {
	s := &Scenario{Name: name, Users: 10}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.line(n, words); err != nil {
			return nil, fmt.Errorf("%s:%d: %q: %w", name, n, strings.TrimSpace(line), err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, s.names()
}

// maxUsers bounds what a scenario can ask for.
const maxUsers = 10_000

func (s *Scenario) line(n int, words []string) error {
	switch words[0] {
	case "backends":
		s.Backends = append(s.Backends, words[1:]...)
		return nil
	case "directors":
		s.Directors = append(s.Directors, words[1:]...)
		return nil
	case "users":
		if len(words) != 2 {
			return fmt.Errorf("users N")
		}
		var err error
		if s.Users, err = strconv.Atoi(words[1]); err != nil || s.Users < 1 || s.Users > maxUsers {
			return fmt.Errorf("1 to %d users", maxUsers)
		}
		return nil
	}
	step, err := parseStep(words)
	step.Line = n
	s.Steps = append(s.Steps, step)
	return err
}

func parseStep(words []string) (Step, error) {
	s := Step{Verb: words[0], Args: words[1:], Text: strings.Join(words, " ")}
	v, known := verbs()[s.Verb]
	if !known {
		return s, fmt.Errorf("there is no step %s", s.Verb)
	}
	var err error
	if n := len(s.Args); v.within {
		if n < 2 || s.Args[n-2] != "within" {
			return s, fmt.Errorf("within DURATION is missing")
		}
		if s.Within, err = time.ParseDuration(s.Args[n-1]); err != nil {
			return s, err
		}
		s.Args = s.Args[:n-2]
	}
	switch n := len(s.Args); {
	case v.args < 0 && n == 0:
		return s, fmt.Errorf("%s what?", s.Verb)
	case v.args >= 0 && n != v.args:
		return s, fmt.Errorf("%s takes %d words, not %d", s.Verb, v.args, n)
	}
	if s.Verb == "for" {
		s.Within, err = time.ParseDuration(s.Args[0])
	}
	return s, err
}

// names checks that every node of a step is one of the scenario's.
func (s *Scenario) names() error {
	nodes := s.Nodes()
	for _, step := range s.Steps {
		switch step.Verb {
		case "start", "kill", "stop", "continue", "term", "upgrade", "downgrade", "freeze", "thaw", "heal", "hang", "unhang", "unmount", "mount", "drain", "up", "down", "copy", "restore", "wipe", "measure":
		case "cut":
			step.Args = step.Args[:1]
		default:
			continue
		}
		for _, name := range step.Args {
			if name != "all" && name != "coordinator" && !slices.Contains(nodes, name) {
				return fmt.Errorf("%s:%d: there is no node %s", s.Name, step.Line, name)
			}
		}
	}
	return nil
}

// Nodes are the backends and the directors.
func (s *Scenario) Nodes() []string { return slices.Concat(s.Backends, s.Directors) }

// Verbs are the steps that a World has to know for this scenario.
func (s *Scenario) Verbs() []string {
	var out []string
	table := verbs()
	for _, step := range s.Steps {
		if !table[step.Verb].runner && !slices.Contains(out, step.Verb) {
			out = append(out, step.Verb)
		}
	}
	return out
}

// Slacken gives everything that has a limit of time so many times longer.
func (s *Scenario) Slacken(times int) {
	for i := range s.Steps {
		if step := &s.Steps[i]; verbs()[step.Verb].within && step.Verb != "random" {
			step.Within *= time.Duration(times)
		}
	}
}

// UserNames are the users' names.
func (s *Scenario) UserNames() []string {
	names := make([]string, s.Users)
	for i := range names {
		names[i] = fmt.Sprintf("user%d", i+1)
	}
	return names
}
