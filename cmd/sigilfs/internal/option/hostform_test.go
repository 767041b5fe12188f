package option

import "testing"

func TestHostForm(t *testing.T) {
	for spec, want := range map[string]string{
		"acme:/":          "s3://acme/",
		"acme:/web/1":     "s3://acme/web/1",
		"s3://acme/web":   "s3://acme/web",
		"s3://acme/a:/b":  "s3://acme/a:/b",
		"/etc/a:/b":       "/etc/a:/b",
		"acme":            "acme",
		"acme:web":        "acme:web",
		"arn:aws:s3:/x":   "arn:aws:s3:/x",
		"file.yaml":       "file.yaml",
		"https://a.b/c:/": "https://a.b/c:/",
	} {
		if got := HostForm(spec); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}
