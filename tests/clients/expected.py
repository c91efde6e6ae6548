"""What must fail today, and why.

What must stay true
- A row names a check by pass and name, and says the reason, the step that ends it, and a pattern of how it fails:
  a check that fails in another way is not expected to.
- A check with a row that works is reported and fails the run: the row has to go. So is a row whose check is no more.
"""

NOT_BUILT = r"NotImplemented|\b501\b|does not offer"
MULTIPART = ("step 2: multipart is not built", NOT_BUILT)

EXPECTED = {
    ("boto3", "multipart: made, filled, completed"): MULTIPART,
    ("awscli", "cp: a file above the multipart threshold"): MULTIPART,
    ("rclone", "copyto: a file above the cutoff"): MULTIPART,
    ("s3cmd", "put: a file above the chunk size"): MULTIPART,
    ("s5cmd", "cp: a file above the part size"): MULTIPART,
    ("minio", "put: above the part size"): MULTIPART,
    ("minio", "compose_object"): MULTIPART,
    ("javascript", "multipart"): MULTIPART,
    ("obstore", "put: multipart"): MULTIPART,
    ("s3fs", "a file above the part size"): MULTIPART,
}
