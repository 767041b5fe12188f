package option

import "strings"

// HostForm gives bucket:/[prefix], as fstab has hosts and s3fs its buckets, as
// s3://bucket/[prefix], and anything else as it is.
func HostForm(spec string) string {
	bucket, prefix, ok := strings.Cut(spec, ":/")
	if !ok || strings.HasPrefix(prefix, "/") || strings.ContainsAny(bucket, "/:") {
		return spec
	}
	return "s3://" + bucket + "/" + prefix
}
