package remote_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
	"github.com/roost-mail/roost/porttest"
	"github.com/roost-mail/roost/remote"
)

// dovecotConf lets every user in who knows the secret, as whatever owner.
const dovecotConf = `
base_dir = %[1]s/base
state_dir = %[1]s/state
log_path = %[1]s/log
info_log_path = /dev/null
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_master_user_separator = *
auth_failure_delay = 0
first_valid_uid = 1
mail_fsync = never
mail_location = maildir:~/Maildir
default_internal_user = %[3]s
default_internal_group = %[4]s
default_login_user = %[3]s
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
  chroot =
}
service anvil {
  chroot =
}
mail_plugins = acl
mail_max_userip_connections = 100
protocol imap {
  mail_plugins = acl imap_acl
  imap_metadata = yes
}
mail_attribute_dict = file:%%h/attributes
plugin {
  acl = vfile
}
namespace inbox {
  separator = /
  inbox = yes
}
passdb {
  driver = static
  master = yes
  args = password=secret
  result_success = continue
}
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%[3]s gid=%[4]s home=%[1]s/home/%%u
}
`

// dovecot is a running Dovecot 2.3: an owner's backend that is not Roost.
type dovecot struct {
	addr string
	last atomic.Int64 // number of the last owner
}

// startDovecot skips the test where there is no Dovecot, unless ROOST_TEST_PEERS
// asks for one.
func startDovecot(t *testing.T) *dovecot {
	t.Helper()
	binary, err := exec.LookPath("dovecot")
	if err != nil || os.Getuid() != 0 {
		if os.Getenv("ROOST_TEST_PEERS") == "1" {
			t.Fatalf("dovecot is asked for, but there is none or we are not root: %v", err)
		}
		t.Skip("needs dovecot, and root to start it")
	}
	return runDovecot(t, binary)
}

func runDovecot(t *testing.T, binary string) *dovecot {
	t.Helper()
	dir := dovecotDir(t)
	port := porttest.Free(t, "127.0.0.1")
	name, group := "nobody", "nogroup"
	if _, err := user.LookupGroup(group); err != nil {
		group = "nobody"
	}
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, port, name, group), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-F", "-c", conf)
	cmd.Env = append(os.Environ(), "DOVECOT_HOSTNAME=peer", "DOVECOT_HOSTDOMAIN=peer.test")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("dovecot's log:\n%s", log)
		}
	})
	d := &dovecot{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	d.await(t)
	return d
}

// dovecotDir is a directory that the mail user can reach.
func dovecotDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dove")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, sub := range []string{"base", "state", "home"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "home"): 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// await waits until the server answers.
func (d *dovecot) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		c, err := d.dial(ctx)
		if err == nil {
			_ = c.Logout(ctx)
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("dovecot does not start: %v", err)
		}
		time.Sleep(50 * time.Millisecond) // nothing tells when it listens
	}
}

func (d *dovecot) dial(ctx context.Context) (*imapclient.Conn, error) {
	return imapclient.Dial(ctx, "tcp", d.addr, imapclient.Config{Timeout: 20 * time.Second})
}

func (d *dovecot) fixture(*testing.T) mailboxtest.Fixture {
	owner := fmt.Sprintf("owner%d", d.last.Add(1))
	return mailboxtest.Fixture{
		Owner: func() mailbox.Account {
			return remote.New(remote.Config{Dial: d.dial, Owner: owner, Acting: owner, Password: "secret"})
		},
		Skip: map[string]string{
			"Append/Empty":                     "IMAP servers refuse an APPEND of nothing",
			"Names/CreateMakesMissingLevels":   "missing levels do not become mailboxes",
			"Names/DeleteKeepsWhatIsBelow":     "missing levels do not become mailboxes",
			"Thread/Refs":                      "threads are in order of sent dates, not of internal dates",
			"Names/Odd":                        "no dots in maildir's names",
			"Rename/TakesAllBelowAlong":        "missing levels do not become mailboxes",
			"Rename/Refusals":                  "missing levels do not become mailboxes",
			"Status/InboxRenamed":              "maildir's INBOX can't be renamed",
			"Metadata/SetAndGet":               "values hold no NUL",
			"Metadata/AllOrNothing":            "values have no limit",
			"Metadata/InboxKeepsItsOwn":        "maildir's INBOX can't be renamed",
			"SpecialUse/Create":                "special uses are set by the configuration",
			"SpecialUse/ChangedByMetadata":     "special uses are set by the configuration",
			"Rename/InboxLeavesItEmpty":        "maildir's INBOX can't be renamed",
			"Rename/AnOpenMailboxGoesOn":       "an open mailbox that is renamed is gone",
			"Subscriptions/NeedNoMailbox":      "only what exists can be subscribed",
			"Append/KeepsFlagsAndDate":         "maildir keeps no time zones",
			"Copy/KeepsAll":                    "maildir keeps no time zones",
			"Search/OnIgnoresTheZone":          "maildir keeps no time zones",
			"Search/OnOtherDay":                "maildir keeps no time zones",
			"Search/SentBefore":                "a message without a date is of 1970",
			"Expunge/CommandsSkipWhatIsGone":   "expunged messages are answered for with made-up values",
			"Items/EmailID":                    "there are no object IDs",
			"Items/EmailIDOfACopy":             "there are no object IDs",
			"Items/MailboxID":                  "there are no object IDs",
			"Items/Preview":                    "an inline element of HTML parts words",
			"ModSeq/UnchangedSinceZero":        "no message passes a condition of 0",
			"ModSeq/VanishedOfInbox":           "maildir's INBOX can't be renamed",
			"Observe/Names":                    "RENAME is not told of, its index of mailboxes is damaged by it",
			"Observe/Metadata":                 "NOTIFY does not tell of metadata",
			"Observe/MetadataFromTheBeginning": "special uses are set by the configuration",
			"Observe/MetadataOverflow":         "NOTIFY does not tell of metadata",
			"Sync/GoneStaysGone":               "an index that was made anew at once is taken for the old one",
		},
	}
}

func TestAgainstDovecot(t *testing.T) {
	d := startDovecot(t)
	mailboxtest.Test(t, d.fixture)
}
