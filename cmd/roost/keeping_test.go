package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/health"
)

func TestForeignHealth(t *testing.T) {
	state := func(checked, up bool, reason string) health.State {
		return health.State{Target: health.Target{Name: "dove"}, Checked: checked, Up: up, Reason: reason}
	}
	for _, row := range []struct {
		name    string
		states  []health.State
		every   time.Duration
		trouble string
		ok      bool
	}{
		{"nobody looks", nil, 0, "", true},
		{"not known yet", nil, time.Second, "", false},
		{"not checked yet", []health.State{state(false, true, "")}, time.Second, "", false},
		{"well", []health.State{state(true, true, "")}, time.Second, "", true},
		{"failed once", []health.State{state(true, true, "connect: refused")}, time.Second, "", true},
		{"down", []health.State{state(true, false, "connect: refused")}, time.Second, "connect: refused", true},
		{"not up yet", []health.State{state(true, false, "")}, time.Second, "it has not been up for long enough", true},
		{"another", []health.State{{Target: health.Target{Name: "other"}, Checked: true}}, time.Second, "", false},
	} {
		if trouble, ok := foreignHealth("dove", row.states, row.every); trouble != row.trouble || ok != row.ok {
			t.Errorf("%s: %q, %t", row.name, trouble, ok)
		}
	}
}

func TestFenceCommand(t *testing.T) {
	if fence("") != nil {
		t.Error("there is a fence without a command")
	}
	script := filepath.Join(t.TempDir(), "fence")
	text := "#!/bin/sh\n[ \"$1\" = dove1 ] || { yes no such plug | head -c 100000; exit 3; }\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fence(script)(t.Context(), "dove1"); err != nil {
		t.Error(err)
	}
	err := fence(script)(t.Context(), "dove2")
	if err == nil || !strings.Contains(err.Error(), "no such plug") || len(err.Error()) > 4*maxSaid {
		t.Errorf("got %.200v", err)
	}
}
