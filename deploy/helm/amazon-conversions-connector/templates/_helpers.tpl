{{- define "connector.name" -}}
{{- if contains "conversions" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-amazon-conversions" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "connector.selector" -}}
app.kubernetes.io/name: amazon-conversions-connector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "connector.labels" -}}
{{ include "connector.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "connector.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "connector.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "connector.port" -}}
{{ .Values.settings.LISTEN_PORT | default "8080" }}
{{- end }}

{{- /* Seconds of a duration such as 500ms, 40s or 7d, rounded up. */ -}}
{{- define "connector.seconds" -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $milliseconds := mul (regexFind "^[0-9]+" . | int64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit) -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end }}

{{- /* SIGTERM drains for DRAIN_TIMEOUT, then commits and leaves the group. */ -}}
{{- define "connector.grace" -}}
{{- add (include "connector.seconds" (.Values.settings.DRAIN_TIMEOUT | default "40s") | int64) 20 -}}
{{- end }}

{{- /* Process and client's queue 186 MB, the buffer, the window, and a quarter more. The image has the
native part, in which a key takes up to 24 bytes while a table grows; without it 110. */ -}}
{{- define "connector.memory" -}}
{{- $size := .Values.settings.BUFFER_MAX_BYTES | default "64MB" -}}
{{- $buffer := mul (regexFind "^[0-9]+" $size | int64) (get (dict "B" 1 "KB" 1000 "MB" 1000000) (regexFind "[A-Z]+$" $size)) -}}
{{- $sum := add 186000000 $buffer (mul (eq (lower (.Values.settings.CODEC | default "")) "python" | ternary 110 24) (.Values.dedupeKeys | int64)) -}}
{{- printf "%dMi" (max 512 (div (mul $sum 5) 4194304)) -}}
{{- end }}

{{- /* Bytes of a quantity such as 384Mi or 1.5G. */ -}}
{{- define "connector.bytes" -}}
{{- $text := . | toString }}
{{- $units := dict "" 1 "k" 1e3 "K" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[A-Za-z]*$" $text) | float64) -}}
{{- end }}

{{- define "connector.file" -}}
{{ . | lower | replace "_" "-" }}
{{- end }}

{{- /* What values.schema.json cannot say: values that are right one by one, and not together. */ -}}
{{- define "connector.check" -}}
{{- $values := .Values }}
{{- if and $values.mapping $values.settings.MAPPING_FILE }}{{ fail "mapping and settings.MAPPING_FILE are both set: remove one of them" }}{{ end }}
{{- range $name, $_ := $values.secretFiles }}
{{- if get $values.settings $name }}{{ fail (printf "secretFiles.%s and settings.%s are both set: remove one of them" $name $name) }}{{ end }}
{{- end }}
{{- if $values.settings.KAFKA_GROUP_INSTANCE_ID }}{{ fail "settings.KAFKA_GROUP_INSTANCE_ID gives all replicas one name, and they end each other: set staticMembership: true instead" }}{{ end }}
{{- if regexMatch "^(127\\..*|localhost|::1)$" ($values.settings.LISTEN_HOST | default "") }}{{ fail (printf "settings.LISTEN_HOST is %s, where no probe reaches the connector: remove it" $values.settings.LISTEN_HOST) }}{{ end }}
{{- $ours := keys $values.settings }}
{{- range $name, $_ := $values.secretFiles }}{{ $ours = concat $ours (list $name (printf "%s_FILE" $name)) }}{{ end }}
{{- if $values.mapping }}{{ $ours = concat $ours (list "MAPPING_FILE" "MAPPING") }}{{ end }}
{{- if $values.staticMembership }}{{ $ours = append $ours "KAFKA_GROUP_INSTANCE_ID" }}{{ end }}
{{- $read := list "BUFFER_MAX_BYTES" "CODEC" "DRAIN_TIMEOUT" "KAFKA_BOOTSTRAP_SERVERS" "KAFKA_GROUP_ID" "KAFKA_GROUP_INSTANCE_ID" "KAFKA_SECURITY_PROTOCOL" "KAFKA_TOKEN_SOURCE" "KAFKA_TOPIC" "LISTEN_HOST" "LISTEN_PORT" "MAX_EVENT_AGE" "SCHEMA_REGISTRY_TYPE" }}
{{- range $values.extraEnv }}
{{- if and (has .name $read) (not (has .name $ours)) }}{{ fail (printf "extraEnv names %s, which the chart reads too: set settings.%s instead" .name .name) }}{{ end }}
{{- if has .name $ours }}{{ fail (printf "extraEnv names %s, which is set already by settings, secretFiles, mapping, staticMembership or extraEnv" .name) }}{{ end }}
{{- $ours = append $ours .name }}
{{- end }}
{{- $given := list }}
{{- range $ours }}{{ if or (get $values.settings .) (not (hasKey $values.settings .)) }}{{ $given = concat $given (list . (trimSuffix "_FILE" .)) }}{{ end }}{{ end }}
{{- if not (has "AMAZON_ACCESS_TOKEN" $given) }}
{{- range list "AMAZON_CLIENT_SECRET" "AMAZON_REFRESH_TOKEN" }}
{{- if not (has . $given) }}{{ fail (printf "secretFiles.%s is missing: name a Secret that holds it, or a fixed token in secretFiles.AMAZON_ACCESS_TOKEN" .) }}{{ end }}
{{- end }}
{{- else if or (has "AMAZON_CLIENT_SECRET" $given) (has "AMAZON_REFRESH_TOKEN" $given) }}{{ fail "secretFiles.AMAZON_ACCESS_TOKEN is set together with AMAZON_CLIENT_SECRET and AMAZON_REFRESH_TOKEN: keep the fixed token or the login" }}
{{- end }}
{{- $glue := eq (lower ($values.settings.SCHEMA_REGISTRY_TYPE | default "")) "glue" }}
{{- if not (or $glue (has "SCHEMA_REGISTRY_URL" $given) (has "AVRO_SCHEMA_FILE" $given) (has "AVRO_SCHEMA_DIR" $given)) }}{{ fail "settings.SCHEMA_REGISTRY_URL is missing: set it, SCHEMA_REGISTRY_TYPE: glue, AVRO_SCHEMA_FILE or AVRO_SCHEMA_DIR" }}{{ end }}
{{- $limit := $values.resources.memoryLimit | default (include "connector.memory" .) }}
{{- with ($values.resources.requests).memory }}
{{- if gt (include "connector.bytes" . | float64) (include "connector.bytes" $limit | float64) }}{{ fail (printf "resources.requests.memory %v is above the limit %s: raise resources.memoryLimit" . $limit) }}{{ end }}
{{- end }}
{{- if and $values.keda.enabled (gt (int64 $values.keda.minReplicas) (int64 $values.keda.maxReplicas)) }}{{ fail (printf "keda.minReplicas %d is above keda.maxReplicas %d" (int64 $values.keda.minReplicas) (int64 $values.keda.maxReplicas)) }}{{ end }}
{{- if and $values.keda.enabled (eq (int64 $values.replicas) 0) }}{{ fail "replicas is 0, but with keda.enabled KEDA runs at least keda.minReplicas: set keda.enabled: false, or remove replicas and annotate the ScaledObject with autoscaling.keda.sh/paused-replicas: \"0\"" }}{{ end }}
{{- $plain := and (eq (upper ($values.settings.KAFKA_SECURITY_PROTOCOL | default "PLAINTEXT")) "PLAINTEXT") (not $values.settings.KAFKA_TOKEN_SOURCE) }}
{{- if and $values.keda.enabled (not $plain) (not $values.keda.authentication) (not $values.keda.metadata) }}{{ fail "keda.authentication is missing: KEDA asks the brokers for the lag, and they want TLS or a login. Name a TriggerAuthentication (deploy/keda/authentication.yaml has some), or set keda.metadata" }}{{ end }}
{{- if and $values.staticMembership (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "connector.name" .))) }}{{ fail (printf "staticMembership makes a Service named %s, and a Service's name may not begin with a digit or hold a dot: choose another name for the release" (include "connector.name" .)) }}{{ end }}
{{- range $values.extraVolumes }}
{{- if or (and (eq .name "secrets") $values.secretFiles) (and (eq .name "mapping") $values.mapping) }}{{ fail (printf "extraVolumes has a volume %s, and so has the chart: give yours another name" .name) }}{{ end }}
{{- end }}
{{- if and $values.networkPolicy.enabled $values.secretFiles.AMAZON_PROXY (not $values.networkPolicy.proxyPort) }}{{ fail "networkPolicy.proxyPort is missing: set it to the port of AMAZON_PROXY, which is in a Secret" }}{{ end }}
{{- if and $values.prometheusRule.enabled (not $values.podMonitor.enabled) }}{{ fail "prometheusRule.enabled needs podMonitor.enabled, whose job the alerts are about; with another scrape load deploy/prometheus/rules.yml" }}{{ end }}
{{- end }}

{{- define "connector.pod" -}}
metadata:
  labels:
    {{- include "connector.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- if or .Values.mapping .Values.podAnnotations }}
  annotations:
    {{- if .Values.mapping }}
    checksum/mapping: {{ .Values.mapping | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
spec:
  serviceAccountName: {{ include "connector.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false # they look like settings
  terminationGracePeriodSeconds: {{ include "connector.grace" . }} # DRAIN_TIMEOUT + 20 s
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: connector
      image: "{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run]
      {{- $given := or .Values.settings .Values.secretFiles .Values.mapping .Values.extraEnv .Values.staticMembership }}
      {{- if $given }}
      env:
        {{- range $name, $value := .Values.settings }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
        {{- range $name, $from := .Values.secretFiles }}
        - name: {{ $name }}_FILE
          value: /run/secrets/connector/{{ include "connector.file" $name }}
        {{- end }}
        {{- if .Values.mapping }}
        - name: MAPPING_FILE
          value: /etc/connector/mapping.toml
        {{- end }}
        {{- if .Values.staticMembership }}
        - name: KAFKA_GROUP_INSTANCE_ID
          valueFrom:
            fieldRef: {fieldPath: metadata.name}
        {{- end }}
        {{- with .Values.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ include "connector.port" . }}
      # Fails when the consumer's thread no longer polls.
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      # Fails also while an operator is needed. That blocks a rollout on purpose: a version or a
      # setting that needs somebody does not go on to the next replica.
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      resources:
        requests:
          {{- toYaml .Values.resources.requests | nindent 10 }}
        limits:
          memory: {{ .Values.resources.memoryLimit | default (include "connector.memory" .) }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      {{- if or .Values.secretFiles .Values.mapping .Values.extraVolumeMounts }}
      volumeMounts:
        {{- if .Values.secretFiles }}
        - name: secrets
          mountPath: /run/secrets/connector
          readOnly: true
        {{- end }}
        {{- if .Values.mapping }}
        - name: mapping
          mountPath: /etc/connector
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- end }}
  {{- if or .Values.secretFiles .Values.mapping .Values.extraVolumes }}
  volumes:
    {{- if .Values.secretFiles }}
    - name: secrets # a change in a Secret arrives without a restart
      projected:
        defaultMode: 288 # 0440
        sources:
          {{- range $name, $from := .Values.secretFiles }}
          - secret:
              name: {{ $from.secret }}
              items:
                - key: {{ $from.key }}
                  path: {{ include "connector.file" $name }}
          {{- end }}
    {{- end }}
    {{- if .Values.mapping }}
    - name: mapping
      configMap:
        name: {{ include "connector.name" . }}-mapping
    {{- end }}
    {{- with .Values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "connector.selector" . | nindent 10 }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "connector.selector" . | nindent 10 }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
