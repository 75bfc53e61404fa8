# The crypto service provider.
#   docker build -f deploy/containers/csp.Dockerfile -t duoveil/csp .
# The first stage has a C compiler for the native arithmetic, the last one nothing that is not needed to run.
ARG NODE=20.20.2

FROM node:${NODE}-bookworm AS build
WORKDIR /src
COPY . .
RUN npm ci --workspace @duoveil/csp --include-workspace-root --ignore-scripts \
 && node common/scripts/build-native.mjs \
 && npx tsc --build csp \
 && npm ci --workspace @duoveil/csp --omit dev --ignore-scripts

FROM node:${NODE}-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/duoveil
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/proto/package.json ./proto/
COPY --from=build /src/proto/dist ./proto/dist
COPY --from=build /src/common/package.json ./common/
COPY --from=build /src/common/dist ./common/dist
COPY --from=build /src/common/build ./common/build
COPY --from=build /src/csp/package.json ./csp/
COPY --from=build /src/csp/dist ./csp/dist
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/duoveil
USER node
VOLUME /var/lib/duoveil
EXPOSE 7001 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then(({ok}) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/duoveil/csp/dist/main.js"]
CMD ["serve", "--config", "/etc/duoveil/csp.yaml"]
