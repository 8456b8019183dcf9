// Package config reads Dovecot 2.3's configuration language into typed settings.
//
// Load reads a file with everything it includes, and reports all errors it
// finds, each with file and line. A name is judged by one table (the files
// table_*.go), which says for every Dovecot 2.3 setting whether Roost implements
// it, accepts it with one warning, or refuses it with the reason: what would
// weaken rights or TLS if it were ignored is refused. docs/settings.md is
// generated from that table.
//
// The way of a value: lexLine (one line) -> parser (blocks, includes, $name,
// <file) -> section (merged values with their positions) -> settle (what an IMAP
// session sees: the protocol blocks laid over the rest) -> classify (refusals
// and warnings) -> build (typed fields, through the table's bindings) -> the
// semantic checks.
//
// Values that may hold % variables stay as written: Expand works per user, with
// the Vars of the session. imapc_master_user = %u means the acting user of the
// session and never the owner of the mailbox, so the caller expands it with the
// acting user's Vars.
//
// Settings are never changed after Load; ForUser copies what it changes. The
// package opens no mail and no socket, and it resolves no host name.
package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of what is read.
const (
	maxFile     = 1 << 20  // bytes of one configuration file
	maxTotal    = 16 << 20 // bytes of all files of one Load
	maxValue    = 64 << 10 // bytes of a value read by "key = <file"
	maxDepth    = 16       // files included by one another
	maxBlocks   = 8        // blocks inside one another
	maxKids     = 4096     // blocks in one block, or in all files
	maxProblems = 100      // errors that are collected before Load gives up
)

// Pos is the place of a value: the file as it was named and the line, from 1.
// The zero Pos is a default.
type Pos struct {
	File string
	Line int
}

// IsZero says that the value was not set in any file.
func (p Pos) IsZero() bool { return p.File == "" && p.Line == 0 }

func (p Pos) String() string {
	if p.IsZero() {
		return "default"
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Problem is one error or warning with its place.
type Problem struct {
	Pos  Pos
	Text string
}

func (p Problem) String() string {
	if p.Pos.IsZero() {
		return p.Text
	}
	return p.Pos.String() + ": " + p.Text
}

// Warning is a Problem that does not stop a start.
type Warning = Problem

// Errors is everything that is wrong with a configuration, in file order.
type Errors []Problem

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func problemf(pos Pos, format string, args ...any) Problem {
	return Problem{Pos: pos, Text: fmt.Sprintf(format, args...)}
}
