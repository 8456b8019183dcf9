package config

import (
	"fmt"
	"strings"
	"testing"
)

// A static master password is warned of unless something says from where it counts.
func TestMasterPasswordFromAnywhere(t *testing.T) {
	for args, warned := range map[string]bool{
		"password=x":                            true,
		"password=x allow_nets=192.0.2.0/24":    false,
		"password=x allow_real_nets=192.0.2.10": false,
	} {
		_, list, err := Load(writeConf(t, "passdb {\n  driver = static\n  master = yes\n  args = "+args+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(fmt.Sprint(list), "limit it with allow_nets"); got != warned {
			t.Errorf("%s: warned %v", args, got)
		}
	}
}
