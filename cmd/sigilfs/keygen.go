package main

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
)

// keyKinds are what keygen makes.
func keyKinds() []string {
	return []string{keyring.KindAES, keyring.KindAge, keyring.KindSSEC, keyring.KindSign}
}

func newKeygen() *cobra.Command {
	var kind, output, source string
	cmd := &cobra.Command{
		Use:   "keygen [--kind aes|age|ssec|sign] -o FILE | --show SOURCE",
		Short: "Make a new key",
		Long: `keygen writes a new key to FILE, mode 0600, and prints its id. A file that
exists is never overwritten. With --show it makes none, and prints the same of
one that is there.

    aes    a 256-bit key, for mount --encryption client --key file:FILE (default)
    age    an age identity, for --key file:FILE; its recipient, which is printed
           too, is for hosts that may write but not read: --key age:RECIPIENT
    ssec   a key for SSE-C, for mount --encryption sse-c --key file:FILE
    sign   a key that signs epochs (Ed25519), for mount --sign file:FILE; what is
           printed is public, and for mount --signers on hosts that believe it`,
		Args: arguments(0, "sigilfs keygen -o FILE"),
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(keyKinds(), kind) {
				return usageError("--kind %s is not one of %s", kind, strings.Join(keyKinds(), ", "))
			}
			if source != "" {
				return showKey(c, kind, source, output)
			}
			return keygen(c, kind, output)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", keyring.KindAES, "`KIND` of key: aes, age, ssec or sign")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to make")
	cmd.Flags().StringVar(&source, "show", "", "`SOURCE` of a key of that kind to tell of: file:PATH, env:NAME, credential:NAME or command:COMMAND")
	return cmd
}

func keygen(c *cobra.Command, kind, output string) error {
	switch output {
	case "":
		return usageError("keygen needs the file to make: sigilfs keygen -o main.key")
	case "-":
		return usageError("a key is not written to stdout, where it would stay in terminals and logs; name a file, on /dev/shm if it must not touch the disk")
	}
	public, err := keyring.Generate(kind, output, time.Now())
	switch {
	case errors.Is(err, fs.ErrExist):
		return systemError("%s exists already and a key is never overwritten; choose another name", output)
	case err != nil:
		return systemError("%w", err)
	}
	err = tellKey(c, public)
	if kind == keyring.KindSign {
		say(c.ErrOrStderr(), output+" holds the only copy of this key, which is this host's alone; what is printed is public: name it under signers on the hosts that are to believe this one")
		return err
	}
	say(c.ErrOrStderr(), output+" holds the only copy of this key: keep another one elsewhere, without it everything encrypted under it is lost")
	return err
}

func tellKey(c *cobra.Command, public keyring.Public) error {
	text := public.ID + "\n"
	if public.Recipient != "" {
		text += public.Recipient + "\n"
	}
	_, err := io.WriteString(c.OutOrStdout(), text)
	return err
}

// showKey tells of a key that is there.
func showKey(c *cobra.Command, kind, source, output string) error {
	if output != "" {
		return usageError("--show tells of a key that is there, and -o makes one: give one of them")
	}
	public, err := keyring.Show(c.Context(), kind, source, keyring.Sources{Stderr: c.ErrOrStderr(), Passphrase: askPassphrase})
	if err != nil {
		return usageError("--show: %w", err)
	}
	return tellKey(c, public)
}
