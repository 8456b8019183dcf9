package main

import (
	"fmt"
	"strings"

	"github.com/roost-mail/roost/health"
)

// condition is one thing that a node needs to serve logins.
type condition struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// fulfilled is a condition that holds if there is no reason why not.
func fulfilled(name, reason string) condition {
	return condition{Name: name, OK: reason == "", Reason: reason}
}

// conditions are what this node needs to serve logins, and whether it has them. It
// asks nobody and waits for nothing.
func (n *node) conditions() []condition {
	shutdown := ""
	if n.imap.Counts().Closing {
		shutdown = "it is shutting down"
	}
	all := []condition{
		fulfilled("process", n.pulse.late()),
		fulfilled("serving", shutdown),
	}
	all = append(all, n.observed.conditions()...)
	if n.set.Cluster.Backend {
		all = append(all, n.volumeConditions()...)
	}
	for _, s := range n.monitor.States() {
		if self, is := selfTarget(n.set); is && s.Target == self {
			all = append(all, fulfilled("self check", selfReason(s)))
		}
	}
	return all
}

// selfReason: the backend fails at what it tries on itself.
func selfReason(s health.State) string {
	if s.Up {
		return ""
	}
	return s.Reason
}

// volumeConditions: each of mail_volume is mounted and answers.
func (n *node) volumeConditions() []condition {
	var all []condition
	hangs := n.pulse.hangs("mail_volume")
	for _, v := range n.pulse.lastVolumes() {
		reason := hangs
		if v.Err != nil {
			reason = v.Err.Error()
		}
		all = append(all, fulfilled("volume "+v.Root, reason))
	}
	if len(all) == 0 && len(n.set.Mail.Volumes) > 0 {
		all = append(all, fulfilled("mail_volume", "not looked at yet"))
	}
	return all
}

// fulfilledAll says whether all conditions are fulfilled.
func fulfilledAll(all []condition) bool {
	for _, c := range all {
		if !c.OK {
			return false
		}
	}
	return true
}

// conditionsText is the conditions, a line each.
func conditionsText(all []condition) string {
	var b strings.Builder
	for _, c := range all {
		if c.OK {
			fmt.Fprintf(&b, "ok: %s\n", c.Name)
		} else {
			fmt.Fprintf(&b, "NOT READY: %s: %s\n", c.Name, c.Reason)
		}
	}
	return b.String()
}
