//go:build tools

package roost

import (
	_ "github.com/emersion/go-imap/v2/imapclient"
	_ "github.com/emersion/go-sasl"
	_ "github.com/go-crypt/crypt"
	_ "github.com/go-crypt/crypt/algorithm/bcrypt"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "go.uber.org/goleak"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/text/encoding/htmlindex"
	_ "golang.org/x/time/rate"
	_ "pgregory.net/rapid"
)
